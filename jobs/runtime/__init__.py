"""What every module may use: settings, events, fault points, threads."""
