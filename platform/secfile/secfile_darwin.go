package secfile

// largeFile is for 32-bit systems.
const largeFile = 0
