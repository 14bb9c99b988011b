"""The name under which the document imports the client."""
