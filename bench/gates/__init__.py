"""What the gates cost per request."""
