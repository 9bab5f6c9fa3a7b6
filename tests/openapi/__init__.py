"""Does relayd answer as `/openapi.json` describes it, whatever is sent (schemathesis)?"""
