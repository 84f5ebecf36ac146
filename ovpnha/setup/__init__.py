"""What `ovpnha init` proposes: texts in, texts and sentences out. No file is opened here."""
