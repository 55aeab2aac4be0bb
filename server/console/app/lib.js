// What every module uses of the rendering library.
import { createElement } from './vendor/preact.js'
import htm from './vendor/htm.js'

export { render, Fragment } from './vendor/preact.js'
export { useState, useEffect, useLayoutEffect, useRef, useMemo, useCallback } from './vendor/hooks.js'

/** html`<p>${text}</p>` makes elements; a text in it stays text. */
export const html = htm.bind(/** @type {any} */ (createElement))
