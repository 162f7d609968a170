"""The window: the only room with Qt. Talks to the engine through `engine.api` and `engine.client` alone."""
