"""How prompts are read: from words to the things that they name, what is said of each, and where each stands.

    paints, amounts, chinese -> phrasing: what was typed, in the words and the order that are looked for
    other_names -> naming -> wording: which known things it names, and how captions would say them
    feelings -> dressed -> hybrids: one thing that no set draws, as several drawings or several conditions
    lettering: words that are to be written in the picture
    places -> relations -> layout: several things, each drawn alone, and where

Nothing here draws; `models.telling` is told what comes of it, and `models.collage` lays what is drawn.
"""
