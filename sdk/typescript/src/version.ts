/** The version that is sent as `User-Agent`; the same as in package.json. */
export const VERSION = '0.1.0';
