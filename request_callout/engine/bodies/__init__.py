"""Bodies that are not JSON: fields written as a form or as multipart; responses read from form, XML or text."""
