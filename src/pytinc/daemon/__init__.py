"""pytincd: options, start-up, privileges, signals, scripts and logging."""
