"""The commands of the command line: each turns its flags into requests and prints the events that come back."""
