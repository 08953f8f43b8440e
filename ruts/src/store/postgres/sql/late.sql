said := 'replaced';
    ago := 0;
    return;
