"""What kb does for its callers and jobs. Functions take a unit of work; what enters the network is a class."""
