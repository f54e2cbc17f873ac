"""HTTP, the command line and the web page; settings; the only place where everything is joined."""
