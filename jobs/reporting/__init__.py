"""What people look at: status, quarantine, the status page and reports."""
