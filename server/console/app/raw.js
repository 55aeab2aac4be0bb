// The very bytes of a member of a JSON object: what was signed is a text, not a value.

/** The text of a member of the outermost object, as it stands. @param {string} json @param {string} name @returns {string | undefined} */
export const rawMember = (json, name) => {
  let depth = 0
  let begin = -1 // of the wanted value
  let key = ''
  for (let i = 0; i < json.length; i++) {
    const c = json[i]
    if (c === '"') {
      const end = endOfText(json, i)
      if (depth === 1 && /^\s*:/.test(json.slice(end + 1, end + 8))) key = JSON.parse(json.slice(i, end + 1))
      i = end
    } else if (c === ':' && depth === 1 && key === name && begin < 0) begin = i + 1
    else if (c === '{' || c === '[') depth++
    else if (c === '}' || c === ']') {
      depth--
      if (depth === 0 && begin >= 0) return json.slice(begin, i).trim()
    } else if (c === ',' && depth === 1) {
      if (begin >= 0) return json.slice(begin, i).trim()
      key = ''
    }
  }
  return undefined
}

/** Where the text ends that begins there. @param {string} json @param {number} begin */
const endOfText = (json, begin) => {
  let i = begin + 1
  while (i < json.length && json[i] !== '"') i += json[i] === '\\' ? 2 : 1
  return i
}
