/** What we sell, in pence. */
export const prices = {
  'Assam': 420,
  'Darjeeling': 560,
  'Earl Grey': 480,
};

/** An amount of pence as people write it. */
export function format(pence) {
  return `£${(pence / 100).toFixed(2)}`;
}

/** What a basket of `{name: count}` costs, in pence. */
export function total(basket) {
  return Object.entries(basket).reduce((sum, [name, count]) => sum + prices[name] * count, 0);
}
