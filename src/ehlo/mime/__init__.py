"""What MIME says, in values: octets and texts in, octets and texts out.  Knows no message, no record, no rule.

    charsets    names of character sets, and text in them
    encodings   bodies without their Content-Transfer-Encoding
    parameters  Content-Type and Content-Disposition
    multipart   where the parts of a body begin and end

Written for mail of any kind and size: everything takes time in proportion to what it is given, and raises nothing for
whatever that is.
"""
