// Builds dist/ from src/: every script has to parse, the prices have to add up.
import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, rmSync, statSync } from 'node:fs';

rmSync('dist', { recursive: true, force: true });
for (const file of readdirSync('src')) {
  const args = ['--check', `src/${file}`];
  if (file.endsWith('.js') && spawnSync(process.execPath, args, { stdio: 'inherit' }).status !== 0) {
    console.error(`error: src/${file} is not JavaScript`);
    process.exit(1);
  }
  console.log(`checked  src/${file}`);
}

const { prices, format, total } = await import('../src/prices.js');
const basket = { 'Assam': 1, 'Earl Grey': 2 };
if (total(basket) !== prices['Assam'] + 2 * prices['Earl Grey']) {
  console.error(`error: a basket of one Assam and two Earl Grey costs ${format(total(basket))}`);
  process.exit(1);
}
console.log(`checked  a basket costs ${format(total(basket))}`);

cpSync('src', 'dist', { recursive: true });
for (const file of readdirSync('dist')) {
  console.log(`built    dist/${file}  ${statSync(`dist/${file}`).size} bytes`);
}
