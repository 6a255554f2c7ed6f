"""What each MySQL-speaking server does in its own way."""
