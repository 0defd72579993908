"""Running a bundle on photos, and pasting the results back."""
