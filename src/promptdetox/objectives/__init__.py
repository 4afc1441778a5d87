"""What can be learnt, one file each: its data, its loss and its figures."""
