"""A client of the batch APIs of relayd, OpenAI, Together and Anthropic, with the signatures of Relay.

It needs the standard library only.
"""
