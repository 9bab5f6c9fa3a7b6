"""ModelRelay's protocol: stock workers join this hub, and this machine joins a stock server."""
