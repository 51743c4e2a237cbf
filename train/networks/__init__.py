"""Networks of the teacher and the student."""
