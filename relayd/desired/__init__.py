"""What shall run: from configuration and command line to one confirmed plan (desired state).

The one maker of it, for `serve`, reload, `plan`, `init` and `recommend --write`. Nothing here prints or asks.
"""
