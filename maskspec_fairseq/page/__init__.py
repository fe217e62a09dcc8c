"""The page of maskspec-page: what a model makes of a file, in a browser. It needs the extra `page`."""
