"""The studio as tools for chat programs, by the Model Context Protocol: over HTTP beside the page, or over stdio."""
