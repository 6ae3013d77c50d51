"""The web page of `pytinc view`: a server of its own process that asks a daemon over its control socket."""
