"""Programs written for something else. Each package here has the names of another one, on top of ehlo."""
