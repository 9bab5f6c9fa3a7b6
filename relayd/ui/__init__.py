"""How values look to a person: data in, rich renderables out."""
