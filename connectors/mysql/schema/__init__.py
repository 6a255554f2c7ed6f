"""Tables as the server describes them, and what their types become."""
