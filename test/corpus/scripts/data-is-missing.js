const users = open("../data/nobody.json");

export default function () {
  JSON.parse(users);
}
