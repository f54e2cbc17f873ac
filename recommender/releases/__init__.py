"""What a refresh leaves behind: folders that are written, verified, published, served."""
