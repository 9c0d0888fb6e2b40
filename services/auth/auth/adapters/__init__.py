"""What auth needs from outside its database."""
