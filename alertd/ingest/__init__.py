"""What an event meets before it is stored: admission, its series, what was accepted before."""
