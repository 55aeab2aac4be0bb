// A list of any length in a page of bounded size: of what the reader has scrolled over, what is
// near the window is there. Of the rest it is known where each page begins and how high it was.
import { useEffect, useLayoutEffect, useState } from './lib.js'

/** @typedef {import('recapito-api').components['schemas']['DeliveryList']} Page */

// In heights of the window: what is nearer is asked for, what is farther is let go, and so much
// room is left at most for what is not there (no browser has an element of any height).
const near = 1
const far = 2.5
const room = 100

/** @param {number[]} list */
const sum = list => list.reduce((a, b) => a + b, 0)
/** @param {Element} e */
const topOf = e => e.getBoundingClientRect().top

/**
 * The list is an element whose children are rows: each has the id of its message as data-id, and
 * as data-page the number of the page with the newest event of it.
 */
export class Scrolling {
  from = 0 // the number of the first page that is there
  /** @type {Page[]} */
  pages = []
  gone = false // on to older pages: until then, the newest one is followed
  busy = false
  /** @type {unknown} */
  error = null
  /** @type {(string | undefined)[]} */
  #cursors = [undefined]
  /** @type {number[]} */
  #heights = []
  #asked = 0
  #focus = -1 // the row that gets the focus when it is there
  /** @type {{ id?: string, top: number } | null} */
  #keep = null // the row that is to stay where it is; without an id, the first one
  #read
  #list
  #draw

  /** @param {(cursor?: string) => Promise<Page>} read @param {{ current: HTMLElement | null }} list @param {() => void} draw */
  constructor(read, list, draw) {
    this.#read = read
    this.#list = list
    this.#draw = draw
  }

  get #rows() {
    return /** @type {HTMLElement[]} */ ([...(this.#list.current?.children ?? [])])
  }
  get #end() {
    return this.from + this.pages.length
  }
  get more() {
    return Boolean(this.#cursors[this.#end])
  }
  /** The room above what is there, and below, in pixels. */
  get above() {
    return Math.min(sum(this.#heights.slice(0, this.from)), room * innerHeight)
  }
  get below() {
    return Math.min(sum(this.#heights.slice(this.#end)), room * innerHeight)
  }

  /** The newest page, as long as it is the only one. @param {Page | undefined} page */
  follow(page) {
    if (this.gone || !page || page === this.pages[0]) return
    this.#hold()
    this.pages = [page]
    this.#cursors = [undefined, page.nextCursor]
  }

  /** Back to the newest page. */
  back() {
    this.#asked++
    this.from = 0
    this.pages = []
    this.#heights = []
    this.gone = this.busy = false
    this.error = null
    this.#draw()
  }

  /** The next older page, whose first row gets the focus. */
  older() {
    this.#focus = this.#rows.length
    return this.#load(this.#end)
  }

  /** Reads anew what is there. */
  async again() {
    const before = this.pages
    try {
      const pages = await Promise.all(before.map((_, i) => this.#read(this.#cursors[this.from + i])))
      if (before === this.pages) this.#show(this.from, pages)
    } catch (error) {
      this.error = error
      this.#draw()
    }
  }

  /** Lets go of what is far, or asks for what is near: one page at a time. */
  settle() {
    const box = this.#list.current?.getBoundingClientRect()
    if (!box || this.busy || this.pages.length === 0) return
    const [top, bottom] = [box.top + this.above, box.bottom - this.below]
    const last = this.pages.length - 1
    const tops = this.pages.map((_, i) => this.#rows.find(row => Number(row.dataset.page) >= this.from + i)).map(row => (row ? topOf(row) : bottom))
    this.pages.forEach((_, i) => (this.#heights[this.from + i] = (tops[i + 1] ?? bottom) - tops[i]))
    if (top > innerHeight && this.from > 0) this.#jump(0, box.top, this.from)
    else if (bottom < 0 && this.#heights.length > this.#end) this.#jump(this.#end, bottom, this.#heights.length)
    else if (last > 0 && tops[1] < -far * innerHeight) this.#show(this.from + 1, this.pages.slice(1))
    else if (last > 0 && tops[last] > (1 + far) * innerHeight) this.#show(this.from, this.pages.slice(0, -1))
    else if (this.from > 0 && top > -near * innerHeight) this.#load(this.from - 1)
    else if (this.more && bottom < (1 + near) * innerHeight && this.pages[last].deliveries.length > 0) this.#load(this.#end)
  }

  /** When it has been drawn: what was in the window is where it was. */
  drawn() {
    const [keep, rows, focus] = [this.#keep, this.#rows, this.#focus]
    this.#keep = null
    const row = keep && (keep.id === undefined ? rows[0] : rows.find(r => r.dataset.id === keep.id))
    if (row && scrollY > 0) scrollBy(0, topOf(row) - keep.top)
    if (focus >= 0 && !this.busy) {
      this.#focus = -1
      rows[focus]?.querySelector('a')?.focus()
    }
    if (this.gone) this.settle()
  }

  /** To the page that the window is at, of those that are not there. @param {number} n that begins at @param {number} at @param {number} end */
  #jump(n, at, end) {
    for (; n < end - 1 && at + (this.#heights[n] ?? 0) < 0; n++) at += this.#heights[n] ?? 0
    return this.#load(n, at)
  }

  /** A page beside those that are there; or alone, beginning at @param {number} n @param {number} [at] */
  async #load(n, at) {
    const mine = ++this.#asked
    this.gone = this.busy = true
    this.error = null
    this.#draw()
    try {
      const page = await this.#read(this.#cursors[n])
      if (mine !== this.#asked) return
      this.busy = false
      this.#cursors[n + 1] = page.nextCursor
      if (at !== undefined) this.#show(n, [page], at)
      else this.#show(Math.min(n, this.from), n < this.from ? [page, ...this.pages] : [...this.pages, page])
    } catch (error) {
      if (mine !== this.#asked) return
      this.busy = false
      this.error = error
      this.#draw()
    }
  }

  /** @param {number} from @param {Page[]} pages @param {number} [at] where the first begins */
  #show(from, pages, at) {
    if (at === undefined) this.#hold()
    else this.#keep = { top: at }
    this.from = from
    this.pages = pages
    this.#draw()
  }

  #hold() {
    const row = this.#rows.find(r => r.getBoundingClientRect().bottom > 0)
    this.#keep = row ? { id: row.dataset.id, top: topOf(row) } : null
  }
}

/** @param {(cursor?: string) => Promise<Page>} read @param {{ current: HTMLElement | null }} list */
export const useScrolling = (read, list) => {
  const [, draw] = useState(0)
  const [s] = useState(() => new Scrolling(read, list, () => draw(n => n + 1)))
  useLayoutEffect(() => s.drawn())
  useEffect(() => {
    const scrolled = () => (s.gone && scrollY === 0 ? s.back() : s.settle())
    addEventListener('scroll', scrolled, { passive: true })
    return () => removeEventListener('scroll', scrolled)
  }, [s])
  return s
}
