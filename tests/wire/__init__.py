"""ModelRelay's protocol from outside: scripted workers against this hub, scripted hubs against this worker.

Names that begin with `c1` to `c74` are the statements of its contract; the page "ModelRelay's statements"
lists each with what holds here.
"""
