"""log Z: is it right, is its error, and how do other libraries do?"""
