"""What does `serve --hub` make of the configuration (hub)?"""

from msgspec.structs import replace

from relayd.config.schema import Config, Server

EVERY_INTERFACE = "0.0.0.0:8080"
"""Where a hub listens by default: nodes on other machines have to reach it."""


def as_hub(config: Config) -> Config:
    """Return a configuration by which other machines can join: they, and clients with a key, reach it.

    What is configured of address and keys stays; by default every client needs a key.
    """
    server = config.server
    if server.listen == Server().listen:
        server = replace(server, listen=EVERY_INTERFACE)
    if not server.api_key:
        server = replace(server, require_key="always")
    hub = replace(config.hub, enabled=True)
    return replace(config, server=server, hub=hub)
