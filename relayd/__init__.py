"""relayd runs llama.cpp on your own machines: it plans, supervises and routes."""

__version__ = "0.1.0"
