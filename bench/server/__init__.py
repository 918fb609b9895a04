"""The server under load: what requests cost, against a floor, other servers, itself disturbed."""
