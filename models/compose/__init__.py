"""Pictures put together: things laid into places, faces and letters on them, masks."""
