"""How fast this is: pieces of work that backends do in turns, told with their machine."""
