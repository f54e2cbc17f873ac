"""The doors: HTTP, command line, web page; settings; the one place where things are joined."""
