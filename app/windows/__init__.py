"""What a person sees, put together from the widgets."""
