"""What a person reads of a run: pictures, and the report that will hold them."""
