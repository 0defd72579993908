"""The networks, one a file, and the layers they share."""
