"""What a bug report needs to know about this machine and this installation, and what is wrong with them."""
