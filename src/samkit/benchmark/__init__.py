"""How fast this is: pieces of work that engines do in turns, told with their machine."""
