"""Where results go: one file a kind of output. Nothing here is loaded until an output is asked for."""
