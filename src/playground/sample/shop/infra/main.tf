variable "region" {
  default = "frankfurt"
}

resource "shop_database" "orders" {
  name   = "orders"
  region = var.region
}
