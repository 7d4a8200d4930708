/** Opens a file beside this one, and one that the caller names. */
export const own = open("./words.txt");

export const read = (file) => open(file);
